# PASCAL Context val without the background, 5105 pictures.
_base_ = "../base_config.py"

model = dict(class_file="configs/cls_context59.txt", options=dict(scale=(2016, 672)))
test_dataloader = dict(
    dataset=dict(
        type="PascalContextDataset59",
        data_root="VOCdevkit/VOC2010",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassContext"),
        ann_file="ImageSets/SegmentationContext/val.txt",
    )
)
