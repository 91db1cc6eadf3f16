# PASCAL VOC 2012 val without the background, 1449 pictures.
_base_ = "../base_config.py"

model = dict(class_file="configs/cls_voc20.txt", options=dict(scale=(2016, 672)))
test_dataloader = dict(
    dataset=dict(
        type="PascalVOC20Dataset",
        data_root="VOCdevkit/VOC2012",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
        ann_file="ImageSets/Segmentation/val.txt",
    )
)
